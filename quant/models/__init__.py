"""Hold trained models in float: the starting point of every quantisation."""
