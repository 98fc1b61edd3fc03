"""Volumes for the demo's claims in a cluster without a default StorageClass: folders of the one node there is."""

import json
import secrets

import kube

NAMESPACE = "lockstep-volumes"
FOLDER = "/var/lib/lockstep-kubernetes-tests"
IMAGE = "lockstep/observer:test"
LABELS = {"lockstep/test": "volume"}
OWNERS = {"kafka": 1000, "postgresql": 999}


def needed() -> bool:
    classes = kube.get("storageclass")
    default = "storageclass.kubernetes.io/is-default-class"
    return not any(one["metadata"].get("annotations", {}).get(default) == "true" for one in classes)


def prepare() -> None:
    """Empty folders, and a volume for each claim."""
    if not needed():
        return
    remove()
    owners = " ".join(f"{FOLDER}/{name}:{owner}" for name, owner in OWNERS.items())
    _on_node(f"for one in {owners}; do mkdir -p ${{one%:*}}; chown ${{one#*:}}:${{one#*:}} ${{one%:*}};"
             " chmod 700 ${one%:*}; done")
    kube.apply([{
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": f"lockstep-test-{name}-{secrets.token_hex(3)}", "labels": LABELS},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                 "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": f"{FOLDER}/{name}"},
                 "claimRef": {"namespace": kube.NAMESPACE, "name": f"data-{name}-0"}}} for name in OWNERS])


def remove() -> None:
    if not needed():
        return
    kube.kubectl("delete", "persistentvolume", f"--selector={'='.join(*LABELS.items())}")
    _on_node(f"rm -rf {FOLDER}/*")
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", seconds=120)


def _on_node(script: str) -> None:
    """Runs a shell script on the node, in a namespace that may."""
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    kube.kubectl("delete", "pod", "node", "--ignore-not-found", namespace=NAMESPACE)
    kube.wait_until(lambda: "default" in kube.kubectl("get", "serviceaccounts", namespace=NAMESPACE, check=False), 30,
                    "the namespace has its ServiceAccount")
    kube.apply({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "node", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-euc", script],
            "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
            "volumeMounts": [{"name": "folder", "mountPath": FOLDER}]}],
            "volumes": [{"name": "folder", "hostPath": {"path": FOLDER, "type": "DirectoryOrCreate"}}]}},
        namespace=NAMESPACE)

    def phase() -> str:
        return json.loads(kube.kubectl("get", "pod", "node", "--output=json", namespace=NAMESPACE))["status"]["phase"]

    kube.wait_until(lambda: phase() in ("Succeeded", "Failed"), 60, "the node's folders are prepared")
    if phase() != "Succeeded":
        raise RuntimeError(kube.kubectl("logs", "node", namespace=NAMESPACE, check=False))
