"""From a version that passed the gate to the model in use: promote, roll back, reconcile."""
