"""What the tests ask of AWS: of moto's emulation, or of the IAM of a Ceph gateway.

client.py ENDPOINT create-stack NAME TEMPLATE [KEY=VALUE...]   outputs and resources, as JSON
client.py ENDPOINT user-data LAUNCH_TEMPLATE                   as an instance would get it
client.py ENDPOINT network                                     ids of a VPC and a subnet that are there
client.py ENDPOINT create-secret NAME FILE                     its ARN
client.py ENDPOINT parameter NAME [VALUE]                      its value, or nothing; sets it first
client.py ENDPOINT delete-parameter NAME
client.py ENDPOINT role NAME                                   the documents of its own policies, and those attached
client.py ENDPOINT policy ARN                                  the document of a managed policy
client.py ENDPOINT metric-sum NAMESPACE NAME DIMENSION=VALUE,...  of the last day
client.py ENDPOINT put-user-policy USER FILE                   with the keys of the environment
client.py ENDPOINT silence ALARM [STATE]                       puts an alarm of this name into the state ALARM, or another
client.py ENDPOINT really MACHINE                              the ARN of a machine that really runs when started
client.py ENDPOINT start MACHINE                               the ARN of an execution
client.py ENDPOINT execution ARN                               its status and its error
client.py ENDPOINT subscribe TOPIC                             the URL of a queue with the mails of a topic
client.py ENDPOINT mail QUEUE                                  the text of the next one, or nothing
client.py ENDPOINT approve TOKEN                               answers a task that waits
client.py ENDPOINT decline TOKEN                               the same, with a no
client.py ENDPOINT desired GROUP [NUMBER]                      how many instances a group is to have; sets it first
client.py ENDPOINT old-manager SITE                            the id of an instance of a site
client.py ENDPOINT instance-state ID                           its state
client.py ENDPOINT object-of BUCKET KEY                        its content, or nothing
client.py ENDPOINT definition TEMPLATE                         the states of its machine
"""

import base64
import datetime
import json
import os
import sys
import urllib.request
import uuid

import boto3
import yaml
from moto.cloudformation.utils import yaml_tag_constructor


def client(service, endpoint):
    keys = {
        "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID", "tests"),
        "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", "tests"),
    }
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)


def read_template(path):
    yaml.add_multi_constructor("", yaml_tag_constructor)
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader=yaml.Loader)


def with_text_of_machines(template):
    """Moto knows the definition of a state machine as a text only: the same one, with the same substitutions."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            properties = resource["Properties"]
            # It also takes two dollars for one.
            text = json.dumps(properties.pop("Definition")).replace("$$.", "${TwoDollars}.")
            substitutions = properties.pop("DefinitionSubstitutions") | {"TwoDollars": "$$"}
            properties["DefinitionString"] = {"Fn::Sub": [text, substitutions]}
    return template


def definition(_, template):
    machines = [
        resource["Properties"]["Definition"]
        for resource in read_template(template)["Resources"].values()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    return machines[0]


def create_stack(endpoint, name, template, *parameters):
    formation = client("cloudformation", endpoint)
    body = json.dumps(with_text_of_machines(read_template(template)))
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


def parameter(endpoint, name, value=None):
    ssm = client("ssm", endpoint)
    if value is not None:
        ssm.put_parameter(Name=name, Type="String", Value=value, Overwrite=True)
    try:
        return ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return ""


def delete_parameter(endpoint, name):
    client("ssm", endpoint).delete_parameter(Name=name)
    return ""


def role(endpoint, name):
    iam = client("iam", endpoint)
    own = iam.list_role_policies(RoleName=name)["PolicyNames"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    return {
        "own": [iam.get_role_policy(RoleName=name, PolicyName=it)["PolicyDocument"] for it in own],
        "attached": [it["PolicyArn"] for it in attached],
    }


def policy(endpoint, arn):
    iam = client("iam", endpoint)
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def metric_sum(endpoint, namespace, name, dimensions):
    pairs = [dimension.split("=", 1) for dimension in dimensions.split(",")]
    now = datetime.datetime.now(datetime.timezone.utc)
    points = client("cloudwatch", endpoint).get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in pairs],
        StartTime=now - datetime.timedelta(days=1),
        EndTime=now + datetime.timedelta(minutes=5),
        Period=86400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def put_user_policy(endpoint, user, path):
    with open(path, encoding="utf-8") as file:
        client("iam", endpoint).put_user_policy(UserName=user, PolicyName="tests", PolicyDocument=file.read())


def really(endpoint, machine):
    """Moto has two sets of machines. Stacks make those that only seem to run, so the same is made among the others."""
    machines = client("stepfunctions", endpoint)
    seen = machines.describe_state_machine(stateMachineArn=machine)
    body = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/config", body, headers)).close()
    made = machines.create_state_machine(name=seen["name"], definition=seen["definition"], roleArn=seen["roleArn"])
    return made["stateMachineArn"]


def silence(endpoint, alarm, state="ALARM"):
    cloudwatch = client("cloudwatch", endpoint)
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="swarmdr",
        MetricName="SiteAlive",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=5,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="a test")


def start(endpoint, machine):
    machines = client("stepfunctions", endpoint)
    # As an event of the rule.
    event = '{"detail-type": "CloudWatch Alarm State Change"}'
    return machines.start_execution(stateMachineArn=machine, name=str(uuid.uuid4()), input=event)["executionArn"]


def execution(endpoint, arn):
    seen = client("stepfunctions", endpoint).describe_execution(executionArn=arn)
    return {key: seen.get(key) for key in ("status", "error", "cause")}


def subscribe(endpoint, topic):
    queues = client("sqs", endpoint)
    queue = queues.create_queue(QueueName="mails")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns", endpoint).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return queue


def mail(endpoint, queue):
    queues = client("sqs", endpoint)
    for message in queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=1).get("Messages", []):
        queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])["Message"]
    return ""


def approve(endpoint, token):
    client("stepfunctions", endpoint).send_task_success(taskToken=token, output="true")


def decline(endpoint, token):
    client("stepfunctions", endpoint).send_task_failure(taskToken=token, error="Declined")


def desired(endpoint, group, number=None):
    groups = client("autoscaling", endpoint)
    if number is not None:
        groups.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=int(number))
    return groups.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]["DesiredCapacity"]


def old_manager(endpoint, site):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "swarmdr-site", "Value": site}]}]
    ec2 = client("ec2", endpoint)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    return ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)["Instances"][0]["InstanceId"]


def instance_state(endpoint, instance):
    seen = client("ec2", endpoint).describe_instances(InstanceIds=[instance])
    return seen["Reservations"][0]["Instances"][0]["State"]["Name"]


def object_of(endpoint, bucket, key):
    s3 = client("s3", endpoint)
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except s3.exceptions.NoSuchKey:
        return ""


def main():
    endpoint, verb, *arguments = sys.argv[1:]
    verbs = [create_stack, user_data, network, create_secret, parameter, delete_parameter, role, policy, metric_sum]
    verbs += [put_user_policy, really, silence, start, execution, subscribe, mail, approve, decline, desired, old_manager]
    verbs += [instance_state, object_of, definition]
    answer = {verb.__name__.replace("_", "-"): verb for verb in verbs}[verb](endpoint, *arguments)
    print(answer if isinstance(answer, str) else json.dumps(answer))


main()
