"""Holds the deployment files against each other and against the program: what no schema knows.

Selectors find their pods, secrets and maps that are mounted exist, variables are ones that the program reads, every pod
is restricted, and images carry the version of Cargo.toml.
"""

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
problems = []


def check(holds, problem):
    if not holds:
        problems.append(problem)


def variables_of_the_program():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    return set(re.findall(r'env = "([A-Z_]+)"', source))


def commands_of_the_program():
    source = (ROOT / "src/cli/commands.rs").read_text()
    variants = re.search(r"pub enum Command \{(.*?)\n\}", source, re.S).group(1)
    names = re.findall(r"^    ([A-Z][A-Za-z]*)(?:\(| \{|,)", variants, re.M)
    return {re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower() for name in names}


def pods(document):
    """The pod template of anything that makes pods."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec.get("template") if isinstance(spec, dict) else None


def labels_fit(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def check_pod(name, template, present, secrets):
    spec = template["spec"]
    secure = spec.get("securityContext", {})
    check(secure.get("runAsNonRoot") is True, f"{name}: may run as root")
    check(secure.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{name}: no seccomp profile")
    check(spec.get("automountServiceAccountToken") is False, f"{name}: gets a token of the cluster")
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for volume in volumes.values():
        secret = volume.get("secret", {}).get("secretName")
        check(secret is None or secret in secrets, f"{name}: nobody makes the secret {secret}")
    for container in spec["containers"]:
        check_container(f"{name}/{container['name']}", container, volumes, present)


def check_container(name, container, volumes, present):
    secure = container.get("securityContext", {})
    check(secure.get("readOnlyRootFilesystem") is True, f"{name}: can write to its image")
    check(secure.get("allowPrivilegeEscalation") is False, f"{name}: may gain rights")
    check(secure.get("capabilities", {}).get("drop") == ["ALL"], f"{name}: keeps capabilities")
    for side in ("requests", "limits"):
        check(set(container["resources"].get(side, {})) == {"cpu", "memory"}, f"{name}: {side} are not complete")
    mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
    for source in container.get("envFrom", []):
        check(("ConfigMap", source["configMapRef"]["name"]) in present, f"{name}: reads a map that is not there")
    for variable in container.get("env", []):
        value = variable.get("value", "")
        if value.startswith("/run/secrets/"):
            inside = any(value.startswith(mount["mountPath"] + "/") for mount in mounts.values())
            check(inside, f"{name}: {value} is not mounted")
    check_image(name, container["image"], container.get("args"), [v["name"] for v in container.get("env", [])])
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container.get(probe, {}).get("httpGet")
        check(asked is None or asked["port"] in ports, f"{name}: {probe} asks a port that is not open")
        check(asked is None or asked["path"] in ("/healthz", "/readyz"), f"{name}: {probe} asks {asked}")


def check_image(name, image, arguments, names):
    """Images of ours carry the version, run a command that exists, and are told what the program reads."""
    if not image.startswith("forecastd"):
        return
    check(":" not in image or image.endswith(f":{VERSION}"), f"{name}: the image {image} is not version {VERSION}")
    check(arguments and arguments[0] in COMMANDS, f"{name}: {arguments} is no command of the program")
    for variable in names:
        check(variable in VARIABLES, f"{name}: the program does not read {variable}")


def check_kubernetes():
    files = sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))
    documents = [d for f in files for d in yaml.safe_load_all(f.read_text()) if d]
    present = {(d["kind"], d["metadata"]["name"]) for d in documents}
    secrets = {name for kind, name in present if kind == "Secret"}
    templates = [pods(d) for d in documents if pods(d)]
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        in_place = document["kind"] == "Namespace" or document["metadata"].get("namespace") == "forecastd"
        check(in_place, f"{name}: is in another namespace")
        if document["kind"] == "ConfigMap":
            for variable in document["data"]:
                check(variable in VARIABLES, f"{name}: the program does not read {variable}")
        selector = document.get("spec", {}).get("selector") or document.get("spec", {}).get("podSelector")
        if selector:
            wanted = selector.get("matchLabels", selector)
            found = any(labels_fit(wanted, template["metadata"]["labels"]) for template in templates)
            check(found, f"{name}: selects no pod")
        template = pods(document)
        if template:
            own = document["spec"].get("selector", {}).get("matchLabels", {})
            check(labels_fit(own, template["metadata"]["labels"]), f"{name}: does not select its own pods")
            check_pod(name, template, present, secrets)
    return len(documents)


def check_compose():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        check(service.get("read_only") is True, f"compose {name}: can write to its image")
        check(service.get("cap_drop") == ["ALL"], f"compose {name}: keeps capabilities")
        own = [v for v in service.get("environment", {}) if not v.startswith("POSTGRES_")]
        check_image(f"compose {name}", service["image"], service.get("command"), own)
        for secret in service.get("secrets", []):
            check(secret in compose["secrets"], f"compose {name}: there is no secret {secret}")
        for value in service.get("environment", {}).values():
            secret = str(value).removeprefix("/run/secrets/")
            check(secret == str(value) or secret in service["secrets"], f"compose {name}: {value} is not mounted")
        for network in service.get("networks", []):
            check(network in compose["networks"], f"compose {name}: there is no network {network}")
    return len(compose["services"])


VERSION = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
VARIABLES = variables_of_the_program()
COMMANDS = commands_of_the_program()
resources, services = check_kubernetes(), check_compose()
for problem in problems:
    print(f"deploy-check: {problem}", file=sys.stderr)
if problems:
    sys.exit(1)
print(f"deploy-check: {resources} Kubernetes resources and {services} compose services fit their schemas and each other")
