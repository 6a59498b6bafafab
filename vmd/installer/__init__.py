"""The unattended-install ISO vmd can build itself, and the contract any other installer keeps."""
