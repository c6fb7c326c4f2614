"""Try many designs of many models on many machines: a study, kept point by point, and its front."""
