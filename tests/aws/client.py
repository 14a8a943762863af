"""What the tests ask of AWS: of moto's emulation, or of the IAM of a Ceph gateway.

client.py ENDPOINT create-stack NAME TEMPLATE [KEY=VALUE...]   outputs and resources, as JSON
client.py ENDPOINT user-data LAUNCH_TEMPLATE                   as an instance would get it
client.py ENDPOINT network                                     ids of a VPC and a subnet that are there
client.py ENDPOINT create-secret NAME FILE                     its ARN
client.py ENDPOINT parameter NAME                              its value
client.py ENDPOINT policy ARN                                  the document of a managed policy
client.py ENDPOINT metric-sum NAMESPACE NAME DIMENSION=VALUE      of the last day
client.py ENDPOINT put-user-policy USER FILE                   with the keys of the environment
"""

import base64
import datetime
import json
import os
import sys

import boto3


def client(service, endpoint):
    keys = {
        "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID", "tests"),
        "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", "tests"),
    }
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)


def create_stack(endpoint, name, template, *parameters):
    formation = client("cloudformation", endpoint)
    with open(template, encoding="utf-8") as file:
        body = file.read()
    pairs = [parameter.split("=", 1) for parameter in parameters]
    formation.create_stack(
        StackName=name,
        TemplateBody=body,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in pairs],
    )
    stack = formation.describe_stacks(StackName=name)["Stacks"][0]
    resources = formation.describe_stack_resources(StackName=name)["StackResources"]
    return {
        "status": stack["StackStatus"],
        "outputs": {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
        # What moto does not know has no name in its list.
        "resources": {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in resources
            if resource.get("LogicalResourceId")
        },
    }


def user_data(endpoint, template):
    versions = client("ec2", endpoint).describe_launch_template_versions(LaunchTemplateId=template)
    return base64.b64decode(versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()


def network(endpoint):
    ec2 = client("ec2", endpoint)
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    return {"vpc": vpc, "subnet": ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.0.0/24")["Subnet"]["SubnetId"]}


def create_secret(endpoint, name, path):
    with open(path, encoding="utf-8") as file:
        return client("secretsmanager", endpoint).create_secret(Name=name, SecretString=file.read())["ARN"]


def parameter(endpoint, name):
    return client("ssm", endpoint).get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]


def policy(endpoint, arn):
    iam = client("iam", endpoint)
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def metric_sum(endpoint, namespace, name, dimension):
    key, value = dimension.split("=", 1)
    now = datetime.datetime.now(datetime.timezone.utc)
    points = client("cloudwatch", endpoint).get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value}],
        StartTime=now - datetime.timedelta(days=1),
        EndTime=now + datetime.timedelta(minutes=5),
        Period=86400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def put_user_policy(endpoint, user, path):
    with open(path, encoding="utf-8") as file:
        client("iam", endpoint).put_user_policy(UserName=user, PolicyName="tests", PolicyDocument=file.read())


def main():
    endpoint, verb, *arguments = sys.argv[1:]
    verbs = [create_stack, user_data, network, create_secret, parameter, policy, metric_sum, put_user_policy]
    answer = {verb.__name__.replace("_", "-"): verb for verb in verbs}[verb](endpoint, *arguments)
    print(answer if isinstance(answer, str) else json.dumps(answer))


main()
