"""Score users over HTTP with httpx: `python examples/http/score.py u000001 u000002 [--url URL] [--key KEY]`."""

import argparse
import sys

import httpx


def main() -> int:
    """Print each user's risk and reasons; 1 if any could not be scored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", nargs="+", metavar="USER_ID")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", help="API key, if the service asks for one")
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    body = {"instances": [{"user_id": user} for user in options.users]}
    with httpx.Client(base_url=options.url, headers=headers, timeout=10) as client:
        answer = client.post("/predict/batch", params={"explain": "true"}, json=body)
    if answer.is_error:
        sys.exit(f"{answer.status_code}: {answer.json()['detail']}")
    predictions = answer.json()["predictions"]
    for user, found in zip(options.users, predictions, strict=True):
        print(f"{user}: {_told(found)}")
    return int(any("error" in found for found in predictions))


def _told(found: dict) -> str:
    if "error" in found:
        return found["error"]["detail"]
    if found["churn_risk"] is None:
        return found["not_scored"]
    reasons = "; ".join(reason["text"] for reason in found.get("reasons", []))
    return f"{found['churn_risk']:.3f} ({found['risk_band']}): {reasons}"


if __name__ == "__main__":
    sys.exit(main())
