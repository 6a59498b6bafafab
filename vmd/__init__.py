"""vmd: declarative virtual machines for a home server.

definition says, plan decides, host acts, daemon keeps, cli asks.

::

    text ──parse──▶ Fleet ──(guest, observed)──▶ plan ──▶ steps ──execute──▶ a running guest
                                                   ▲                            │
                                                   └────────── observed ◀───────┘
"""

__version__ = "0.1.0"
