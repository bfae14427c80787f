"""`chainsight verify`: what choosing among many answers by the model's own reward is worth."""
