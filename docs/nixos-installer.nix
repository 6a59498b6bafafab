# An ISO that installs NixOS by itself, by vmd's contract: docs/installer.md. Checked for what it says; not built here.
{ config, lib, pkgs, modulesPath, ... }:

let
  # What the guest will be: small, with a serial console, its keys beside it.
  guest = pkgs.writeText "configuration.nix" ''
    { modulesPath, ... }: {
      imports = [ (modulesPath + "/profiles/qemu-guest.nix") ./hardware-configuration.nix ];
      boot.loader.grub.device = "/dev/vda";
      boot.kernelParams = [ "console=ttyS0" ];
      networking.useDHCP = true;
      services.openssh.enable = true;
      services.qemuGuest.enable = true;
      users.users.admin = {
        isNormalUser = true;
        extraGroups = [ "wheel" ];
        openssh.authorizedKeys.keyFiles = [ ./ssh.pub ];
      };
      security.sudo.wheelNeedsPassword = false;
    }
  '';

  install = pkgs.writeShellScript "auto-install" ''
    set -eu
    exec > /dev/ttyS0 2>&1
    trap 'echo "INSTALL_FAILED: line $LINENO of the installer"; poweroff' EXIT

    echo "INSTALL_PROGRESS 1/4 looking for the keys"
    mkdir -p /keys /mnt
    for drive in /dev/vd[b-z] /dev/vd[b-z][0-9] /dev/sd? /dev/sd?[0-9]; do
        if [ -b "$drive" ] && mount -t vfat -o ro "$drive" /keys 2>/dev/null; then
            [ ! -f /keys/ssh.pub ] || break
            umount /keys
        fi
    done
    [ -f /keys/ssh.pub ] || { trap - EXIT; echo "INSTALL_FAILED: no drive has a file ssh.pub"; poweroff; exit 1; }

    echo "INSTALL_PROGRESS 2/4 partitioning"
    parted --script /dev/vda mklabel msdos mkpart primary ext4 1MiB 100%
    mkfs.ext4 -q -L nixos /dev/vda1
    mount /dev/vda1 /mnt

    echo "INSTALL_PROGRESS 3/4 installing"
    nixos-generate-config --root /mnt
    cp ${guest} /mnt/etc/nixos/configuration.nix
    cp /keys/ssh.pub /mnt/etc/nixos/ssh.pub
    nixos-install --no-root-passwd

    echo "INSTALL_PROGRESS 4/4 host key"
    mkdir -p /mnt/etc/ssh
    ssh-keygen -q -t ed25519 -N "" -f /mnt/etc/ssh/ssh_host_ed25519_key
    echo "SSH_HOST_KEY $(cut -d ' ' -f 1,2 /mnt/etc/ssh/ssh_host_ed25519_key.pub)"
    umount /mnt
    sync
    trap - EXIT
    echo "INSTALL_SUCCESSFUL"
    poweroff
  '';
in
{
  imports = [ (modulesPath + "/installer/cd-dvd/installation-cd-minimal.nix") ];
  boot.kernelParams = [ "console=ttyS0" ];
  boot.loader.timeout = lib.mkForce 1;
  systemd.services.auto-install = {
    wantedBy = [ "multi-user.target" ];
    after = [ "network-online.target" ];
    wants = [ "network-online.target" ];
    path = with pkgs; [ config.system.build.nixos-install config.system.build.nixos-generate-config parted e2fsprogs openssh util-linux ];
    serviceConfig = { Type = "oneshot"; ExecStart = install; };
  };
}
