"""Password hashing that a login-heavy load can pay for."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class OwaspArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id at the parameters of OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.

    Django's default of 100 MiB and 8 lanes would let a handful of log-ins at once exhaust a small web host.
    """

    time_cost = 2
    memory_cost = 19456  # KiB
    parallelism = 1
