#!/usr/lib/vmd/bin/python3 -Es
import sys

from vmd.cli.__main__ import main

sys.exit(main())
