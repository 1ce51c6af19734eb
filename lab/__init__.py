"""A cluster of real Debian hosts on one machine: systemd-nspawn over one base image a release."""
