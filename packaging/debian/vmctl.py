#!/usr/lib/vmd/bin/python3 -Es
"""Where /usr/bin/vmctl leads: vmctl of the interpreter that the package brings along."""

import sys

from vmd.cli.__main__ import main

sys.exit(main())
