"""vmctl asks, and never touches the host.

``arguments`` knows the words, ``client`` the control socket, ``show`` how a fact looks; each family of verbs has a
file. Of the rest of vmd only ``protocol`` and ``errors`` are imported, and of the standard library little: a fact
must be on the screen about as soon as Python itself is up. What a verb alone needs, it imports when it is called.
"""
