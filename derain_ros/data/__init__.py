"""Images for training and evaluation: layouts of data sets, held-out rules, samples, views, sequences."""
