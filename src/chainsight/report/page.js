/* The page's only script. Without it everything is to be read; it filters the samples, pages
   through them, follows links inside sandboxed frames, and switches light and dark.
   It stores nothing: a sandboxed frame has no storage and no history of its own. */
"use strict";
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const PAGE = 10;

  // --- light and dark ---------------------------------------------------------------------
  const theme = one("#theme");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const nameTheme = () => { theme.textContent = isDark() ? "Light page" : "Dark page"; };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  nameTheme();
  theme.hidden = false;

  // --- what scrolls is reached by keyboard ------------------------------------------------
  const reachable = () => {
    for (const box of all(".wide, .text")) {
      if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) {
        box.tabIndex = 0;
      } else {
        box.removeAttribute("tabindex");
      }
    }
  };
  addEventListener("resize", reachable);
  addEventListener("toggle", reachable, true);

  // --- samples ----------------------------------------------------------------------------
  const form = one("#filters");
  const samples = all(".sample").map((element) => ({
    element,
    text: all("h3 a, .question, .references b, td b, .text", element)
      .map((part) => part.textContent).join("\n").normalize("NFKC").toLowerCase(),
    voices: all("td[data-model]", element).map((cell) => cell.dataset),
  }));
  let found = samples;
  let start = 0;

  const wanted = () => Object.fromEntries(new FormData(form));
  const isRight = (sample, name) => {
    const voice = sample.voices.find((own) => `${own.model}/${own.mode}` === name);
    return voice && voice.right === "1";
  };
  const flips = (sample, { from, to, flip }) => {
    const [before, after] = [isRight(sample, from), isRight(sample, to)];
    if (before === undefined || after === undefined) return false;
    return { won: !before && after, lost: before && !after, flipped: before !== after,
      same: before === after }[flip];
  };
  const fits = (sample, want) => {
    const { dataset, kind } = sample.element.dataset;
    if ((want.dataset && want.dataset !== dataset) || (want.kind && want.kind !== kind)) return false;
    if (!sample.text.includes(want.text.normalize("NFKC").toLowerCase().trim())) return false;
    if (want.flip && !flips(sample, want)) return false;
    return sample.voices.some((voice) => (!want.model || voice.model === want.model)
      && (!want.mode || voice.mode === want.mode) && (!want.verdict || voice.right === want.verdict)
      && (!want.status || voice.status === want.status));
  };
  const show = () => {
    const page = new Set(found.slice(start, start + PAGE));
    for (const sample of samples) sample.element.hidden = !page.has(sample);
    for (const sheet of all(".sheet")) {
      sheet.hidden = !all(".sample", sheet).some((element) => !element.hidden);
    }
    const last = Math.min(start + PAGE, found.length);
    const shown = found.length > PAGE ? `, ${start + 1} to ${last} shown` : "";
    one("#count").textContent = found.length
      ? `${found.length} of ${samples.length} samples${shown}`
      : `No sample of ${samples.length} fits: clear a filter`;
    one("#previous").disabled = start === 0;
    one("#next").disabled = last >= found.length;
    reachable();
  };
  const turn = (to) => {
    start = Math.max(0, Math.min(to, Math.floor((found.length - 1) / PAGE) * PAGE));
    show();
  };
  const filter = () => {
    const want = wanted();
    found = samples.filter((sample) => fits(sample, want));
    turn(0);
  };
  const focusOn = (sample) => {
    turn(Math.floor(found.indexOf(sample) / PAGE) * PAGE);
    sample.element.focus({ preventScroll: true });
    sample.element.scrollIntoView();
  };

  // --- links ------------------------------------------------------------------------------
  const remember = (hash, entry = "replaceState") => {
    try {
      history[entry](null, "", hash);
    } catch { /* a sandboxed frame has no address of its own */ }
  };
  const filters = () => {
    const kept = Object.entries(wanted()).filter(([name, value]) => value
      && (wanted().flip || (name !== "from" && name !== "to")));
    return kept.length ? `#samples?${new URLSearchParams(kept)}` : "#samples";
  };
  /* Goes where a link leads: to a sample, to filters, or to any part of the page. */
  const follow = (hash) => {
    const name = hash.slice(1);
    if (form && name.startsWith("samples?")) {
      form.reset();
      for (const [key, value] of new URLSearchParams(name.slice(8))) {
        if (form.elements[key]) form.elements[key].value = value;
      }
      filter();
      return follow("#samples");
    }
    const target = document.getElementById(name) || document.getElementById(decode(name));
    if (!target) return false;
    const sample = samples.find((own) => own.element === target);
    if (!sample) {
      target.scrollIntoView();
      if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
      target.focus({ preventScroll: true });
      return true;
    }
    if (!found.includes(sample)) {
      form.reset();
      filter();
    }
    focusOn(sample);
    return true;
  };
  const decode = (name) => {
    try { return decodeURIComponent(name); } catch { return name; }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // in a frame without an address `#part` would lead out of the page
    if (follow(link.getAttribute("href"))) remember(link.getAttribute("href"), "pushState");
  });
  addEventListener("popstate", () => follow(location.hash || "#main"));

  if (form) {
    let timer;
    form.addEventListener("input", (event) => {
      clearTimeout(timer);
      const changed = () => { filter(); remember(filters()); };
      if (event.target.name === "text") timer = setTimeout(changed, 150);
      else changed();
    });
    form.addEventListener("reset", () => setTimeout(() => { filter(); remember("#samples"); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    one("#previous").addEventListener("click", () => turn(start - PAGE));
    one("#next").addEventListener("click", () => turn(start + PAGE));
    one("#samples-list").addEventListener("keydown", (event) => {
      const step = { n: 1, p: -1 }[event.key];
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
      const own = event.target.closest(".sample");
      const next = found[found.findIndex((sample) => sample.element === own) + step];
      if (next) focusOn(next);
    });
    for (const part of ["#filters", "#keys", "#pager"]) one(part).hidden = false;
    filter();
  }
  reachable();
  if (location.hash.length > 1) follow(location.hash);
})();
