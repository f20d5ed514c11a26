# A Packer template: a cloud image gets reseed and the site's seed, and is sealed.
#
# The last provisioner is `reseed seal`: whatever must be unique to a machine is taken out, and
# nothing after it may make a key again, so put yours before it. Packer then stops the machine.
#
# To use it: set `image`, `checksum` and the packages, then `packer validate` and `packer build`.
# Packer from 1.7 on keeps builders in plug-ins; put this into a file beside it and run `packer init`:
#
#   packer { required_plugins { qemu = { source = "github.com/hashicorp/qemu", version = ">= 1.0" } } }

variable "image" {
  type    = string
  default = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
}

variable "checksum" {
  type    = string
  default = "file:https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS"
}

source "qemu" "server" {
  disk_image       = true
  iso_url          = var.image
  iso_checksum     = var.checksum
  ssh_username     = "debian"
  shutdown_command = "sudo systemctl poweroff"
}

build {
  sources = ["source.qemu.server"]

  provisioner "file" {
    source      = "seed.toml"
    destination = "/tmp/seed.toml"
  }

  provisioner "shell" {
    inline = [
      "sudo apt-get update",
      "sudo apt-get install --yes reseed apache2",
      "sudo install -D -m 0644 /tmp/seed.toml /etc/reseed/seed.toml",
      "rm /tmp/seed.toml",
    ]
  }

  provisioner "shell" {
    inline = ["sudo reseed seal --running"]
  }
}
