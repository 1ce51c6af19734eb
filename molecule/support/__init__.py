"""What the scenarios' tests share: the cluster under test, a browser for it, playbook runs, and waiting."""
