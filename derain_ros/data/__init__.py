"""Images to train and to measure on: layouts of data sets, what is held out, samples, views, sequences."""
