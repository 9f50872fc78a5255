"""The network: MobileNetV2, the classifier on top of it, the stored activations of its frozen part."""
