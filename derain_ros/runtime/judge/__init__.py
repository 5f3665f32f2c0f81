"""What is wrong with a view: the detector, the comparison of both eyes, the debounced decision."""
