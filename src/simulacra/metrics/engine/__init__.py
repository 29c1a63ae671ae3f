"""How figures are made: samples, binning, scores with floors and errors, and the evaluation of all."""
