"""Walk from a float model to bits, accuracy, cycles, energy and a report; each step resumes."""
