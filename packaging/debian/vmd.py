#!/usr/lib/vmd/bin/python3 -Es
"""Where /usr/sbin/vmd leads: the daemon of the interpreter that the package brings along."""

import sys

from vmd.daemon.__main__ import main

sys.exit(main())
