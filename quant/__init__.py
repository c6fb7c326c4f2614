"""Turn trained float models into integer graphs: all that has floats lives here."""
