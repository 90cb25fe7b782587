#!/bin/sh
# Makes the secrets that compose.yaml and the manifests for Kubernetes want, in a folder: sh secrets.sh [folder]
# What is there already stays. Only you may enter the folder. The files are for every user, as those in the containers differ.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"

random() {
  od -An -tx1 -N24 /dev/urandom | tr -d ' \n'
}

for name in admin-token cluster-secret nats-password; do
  [ -e "$folder/$name" ] || printf '%s\n' "$(random)" >"$folder/$name"
done
printf 'authorization { user: muster, password: "%s" }\n' "$(cat "$folder/nats-password")" >"$folder/auth.conf"
