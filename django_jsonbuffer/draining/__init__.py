"""Workers: they claim batches, let the processor process them, and acknowledge."""
