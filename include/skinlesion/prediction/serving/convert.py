"""A process that converts a Keras file for LiteRT and writes the result to standard output: TensorFlow's only place."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(path: Path) -> int:
    """Write the .tflite content of a .h5 or .keras file to standard output; 2 and a sentence for a file that is refused."""
    from skinlesion.foundation.errors import DataError
    from skinlesion.network import quiet_tensorflow

    # What libraries print must not get between the bytes.
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        quiet_tensorflow.load()
        from skinlesion.network.classifier import load_classifier
        from skinlesion.network.litert import converted

        content = converted(load_classifier(path))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with os.fdopen(output, "wb") as whole:
        whole.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
