"""The standby process: import worker modules, wait for a command, and become that worker.

python -m tasks.workers.standby_main MODULE…        (started by tasks/workers/standby.py)
"""

import json
import os
import sys
from importlib import import_module


def main(modules: list[str]) -> None:
    """Import `modules`, wait for the line [module, config file], and call that module's `main`.

    Ends without a word if the parent ends first.
    """
    workers = {name: import_module(name) for name in modules}
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows the line is for `end_with_parent`
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    module, config_file = json.loads(line)
    sys.argv = [module, config_file]
    workers[module].main()


if __name__ == "__main__":
    main(sys.argv[1:])
