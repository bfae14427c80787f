"""Makes the bucket of a try-out store; waits for the server, leaves a bucket that is there."""

import os
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

bucket, end = os.environ["CHAINSIGHT_BUCKET"], time.monotonic() + 240
while True:
    try:
        boto3.client("s3").create_bucket(Bucket=bucket)
        print(f"bucket {bucket} made")
        break
    except (BotoCoreError, ClientError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            print(f"bucket {bucket} is there")
            break
        if time.monotonic() > end:
            raise SystemExit(f"bucket {bucket} cannot be made: {error}") from None
        time.sleep(2)
