"""Ablations: settings of one pipeline, several seeds each, with what they share made once.

`plan` lays the work out, `execute` does it, `results` collects it, `show` and `page` tell it.
"""
