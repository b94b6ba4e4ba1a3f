"""Says when certificates in files end."""

import ssl
import time

INFO = {
    "name": "cert_expiry",
    "description": "Says on which day the certificates in PEM files end, and in how many days",
}

DAY_S = 24 * 3600


def expiry(path):
    # The standard library reads certificates only this way, from a file.
    found = ssl._ssl._test_decode_cert(path)
    seconds = ssl.cert_time_to_seconds(found["notAfter"])
    subject = {key: value for part in found["subject"] for key, value in part}
    return {
        "path": path,
        "subject": subject.get("commonName", ""),
        "ends": time.strftime("%Y-%m-%d", time.gmtime(seconds)),
        "days_left": int((seconds - time.time()) // DAY_S),
    }


def run(params):
    certificates, problems = [], []
    for path in params["paths"]:
        try:
            certificates.append(expiry(path))
        except (OSError, ValueError) as error:
            problems.append({"path": path, "problem": str(error)})
    certificates.sort(key=lambda one: one["days_left"])
    warn_days = params.get("warn_days", 30)
    soon = [one["path"] for one in certificates if one["days_left"] < warn_days]
    return {
        "success": not problems,
        "certificates": certificates,
        "soon": soon,
        "problems": problems,
    }
