"""From an image to an answer: the classifier in service, its decision, whole folders, and the server (serving/)."""
