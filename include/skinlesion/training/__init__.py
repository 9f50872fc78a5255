"""What the train stage is made of: the inner fold, the rows a network is fed with, phases that resume."""
