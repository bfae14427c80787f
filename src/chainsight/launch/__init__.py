"""How a training stage gets its processes: on one machine by torchrun, on several as a TrainJob."""
