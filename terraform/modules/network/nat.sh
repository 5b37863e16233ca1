#!/bin/bash
# First boot of the NAT instance: forwards traffic from the VPC under its own address. Nothing else listens or is allowed in.
set -euo pipefail

interface=$(ip -o -4 route show default | awk '{ print $5; exit }')

echo 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/90-nat.conf
sysctl --quiet --load /etc/sysctl.d/90-nat.conf

# The route to the internet may exist some seconds later than the instance.
tries=0
until dnf install --assumeyes --quiet nftables; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || { echo "nat: cannot install nftables" >&2; exit 1; }
    sleep 15
done

cat >/etc/sysconfig/nftables.conf <<RULES
flush ruleset
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "$interface" masquerade
    }
}
RULES
systemctl enable --now nftables
systemctl enable --now amazon-ssm-agent
