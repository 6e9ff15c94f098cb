//! What `deploy/kustomize` promises, property by property: the agent's privileges are exactly the documented ones, the
//! collector is restricted, and nobody has a right that is not needed.
//!
//! Reads the files as they are; that they render and fit the schemas of Kubernetes is `make manifests`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its own repository"
)]

mod admission;
mod documented;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_tests::apiserver;
use serde_json::{Value, json};

const NAMESPACE: &str = "holdfast-system";

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize/base")
}

fn parse(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kustomization() -> Value {
    parse(&base().join("kustomization.yaml")).remove(0)
}

fn objects() -> Vec<Value> {
    strings(&kustomization()["resources"]).iter().flat_map(|file| parse(&base().join(file))).collect()
}

fn object(kind: &str, name: &str) -> Value {
    let mut found: Vec<Value> =
        objects().into_iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "one {kind}/{name}");
    found.remove(0)
}

fn of_kind(kind: &str) -> Vec<Value> {
    objects().into_iter().filter(|object| object["kind"] == kind).collect()
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().expect("a list").iter().map(|item| item.as_str().expect("a string").to_owned()).collect()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().expect("a list").iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("an item named {name}"))
}

/// The pod of a workload that has one container.
fn pod(kind: &str, name: &str) -> (Value, Value) {
    let pod = object(kind, name)["spec"]["template"]["spec"].clone();
    assert_eq!(pod["containers"].as_array().expect("containers").len(), 1);
    assert!(pod.get("initContainers").is_none());
    let container = pod["containers"][0].clone();
    (pod, container)
}

fn agent() -> (Value, Value) {
    pod("DaemonSet", "holdfast-agent")
}

fn collector() -> (Value, Value) {
    pod("Deployment", "holdfast-collector")
}

#[test]
fn every_file_is_applied_in_our_namespace() {
    let kustomization = kustomization();
    let applied = strings(&kustomization["resources"]);
    let there: BTreeSet<String> = fs::read_dir(base())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(applied, there);
    assert_eq!(kustomization["namespace"], NAMESPACE);
}

#[test]
fn every_image_can_be_replaced_and_carries_a_version() {
    let images = kustomization()["images"].clone();
    for (_, container) in [agent(), collector()] {
        let image = named(&images, container["image"].as_str().unwrap());
        assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn the_namespace_admits_what_the_agent_needs() {
    let labels = object("Namespace", NAMESPACE)["metadata"]["labels"].clone();
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "privileged", "{mode}");
    }
}

#[test]
fn the_agent_runs_on_every_real_linux_node() {
    let (pod, _) = agent();
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(terms.as_array().unwrap().len(), 1, "terms are alternatives: a second one would let virtual nodes in");
    let expressions = terms[0]["matchExpressions"].as_array().unwrap();
    assert!(expressions.iter().all(|expression| expression["operator"] == "NotIn"), "a real node has neither label");
    assert!(expressions.contains(&json!({"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]})));
    assert_eq!(pod["priorityClassName"], object("PriorityClass", "holdfast-agent")["metadata"]["name"]);
    assert_eq!(
        object("DaemonSet", "holdfast-agent")["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}})
    );
}

#[test]
fn the_agent_shares_what_it_looks_at_and_nothing_else() {
    let (pod, _) = agent();
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
    assert!(pod.get("hostIPC").is_none());
    let volumes = pod["volumes"].as_array().unwrap();
    let host_paths: BTreeSet<String> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).map(str::to_owned).collect();
    assert_eq!(host_paths, set(&["/", "/var/lib/holdfast"]), "no runtime socket, no other directory of the host");
}

#[test]
fn the_agent_sees_the_host_read_only() {
    let (pod, container) = agent();
    assert_eq!(named(&pod["volumes"], "host")["hostPath"]["path"], "/");
    let mounts = &container["volumeMounts"];
    let host = named(mounts, "host");
    assert_eq!(host["mountPath"], "/host");
    assert_eq!(host["readOnly"], true);
    assert_eq!(host["mountPropagation"], "HostToContainer");
    let writable: Vec<&Value> =
        mounts.as_array().unwrap().iter().filter(|mount| mount["readOnly"] != true).map(|mount| &mount["mountPath"]).collect();
    assert_eq!(writable, ["/var/lib/holdfast"], "only the spool");
    let arguments = strings(&container["args"]);
    assert!(arguments.is_superset(&set(&["--host-root=/host", "--proc=/host/proc", "--spool=/var/lib/holdfast"])), "{arguments:?}");
}

#[test]
fn the_agent_has_exactly_the_documented_privileges() {
    let (_, container) = agent();
    let context = &container["securityContext"];
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["runAsUser"], 0);
    assert_eq!(strings(&context["capabilities"]["drop"]), set(&["ALL"]));
    assert_eq!(strings(&context["capabilities"]["add"]), set(&["SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "CHOWN"]));
    assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
    assert_eq!(context["appArmorProfile"], json!({"type": "Unconfined"}));
    assert_eq!(context["seLinuxOptions"], json!({"type": "spc_t"}));
}

#[test]
fn the_agent_steps_down_to_a_user_that_is_not_root() {
    let (_, container) = agent();
    assert!(strings(&container["args"]).contains("--run-as=65523"));
}

#[test]
fn the_agent_has_no_right_in_the_api_and_a_token_for_the_collector_only() {
    let (pod, _) = agent();
    assert_eq!(pod["serviceAccountName"], "holdfast-agent");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(object("ServiceAccount", "holdfast-agent")["automountServiceAccountToken"], false);
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        for binding in of_kind(kind) {
            let subjects = binding["subjects"].as_array().unwrap();
            assert!(subjects.iter().all(|subject| subject["name"] != "holdfast-agent"), "{binding}");
            assert!(subjects.iter().all(|subject| subject["kind"] == "ServiceAccount"), "no groups: {binding}");
        }
    }
    let sources = named(&pod["volumes"], "collector-token")["projected"]["sources"].clone();
    assert_eq!(sources, json!([{"serviceAccountToken": {"audience": "holdfast-collector", "expirationSeconds": 3600, "path": "token"}}]));
}

#[test]
fn the_agent_is_probed_on_loopback_and_opens_no_other_port() {
    let (_, container) = agent();
    assert!(container.get("ports").is_none());
    assert!(strings(&container["args"]).contains("--health=127.0.0.1:9464"));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["host"], "127.0.0.1", "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"], 9464, "{probe}");
    }
}

#[test]
fn service_variables_cannot_be_taken_for_flags() {
    for (pod, _) in [agent(), collector()] {
        assert_eq!(pod["enableServiceLinks"], false, "our Services would set HOLDFAST_COLLECTOR_PORT and the like");
    }
}

#[test]
fn both_are_limited() {
    for (_, container) in [agent(), collector()] {
        for resource in ["cpu", "memory"] {
            for bound in ["requests", "limits"] {
                assert!(container["resources"][bound][resource].is_string(), "{bound} {resource}");
            }
        }
    }
}

#[test]
fn the_collector_fits_pod_security_restricted() {
    let (pod, container) = collector();
    for shared in ["hostPID", "hostNetwork", "hostIPC"] {
        assert!(pod.get(shared).is_none(), "{shared}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &container["securityContext"];
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    let permitted = ["configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim"];
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(permitted.iter().any(|&kind| volume.get(kind).is_some()), "{volume}");
    }
}

/// A token that Kubernetes mounts by itself is good for a year where the API server extends it, which is the default.
#[test]
fn the_collectors_token_is_good_for_an_hour() {
    let (pod, container) = collector();
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(object("ServiceAccount", "holdfast-collector")["automountServiceAccountToken"], false);
    let mount = named(&container["volumeMounts"], "api-access");
    // Where every client library looks for it.
    assert_eq!(mount, &json!({"name": "api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}));
    let sources = named(&pod["volumes"], "api-access")["projected"]["sources"].clone();
    assert_eq!(
        sources,
        json!([
            {"serviceAccountToken": {"expirationSeconds": 3600, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ])
    );
}

#[test]
fn the_collector_may_review_tokens_and_read_nodes_and_the_agents_pods() {
    let rules = |kind: &str| -> Vec<Value> { of_kind(kind).into_iter().map(|role| role["rules"].clone()).collect() };
    let read = ["get", "list", "watch"];
    assert_eq!(
        rules("ClusterRole"),
        [json!([
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": read},
        ])]
    );
    assert_eq!(
        rules("Role"),
        [json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": read},
            {"apiGroups": ["apps"], "resources": ["daemonsets"], "resourceNames": ["holdfast-agent"], "verbs": read},
        ])]
    );
    for kind in ["Role", "ClusterRole"] {
        let binding = object(&format!("{kind}Binding"), "holdfast-collector");
        assert_eq!(binding["roleRef"]["kind"], kind);
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "holdfast-collector", "namespace": NAMESPACE}]));
    }
    let (_, container) = collector();
    let arguments = strings(&container["args"]);
    assert!(arguments.contains("--token-review"));
    assert!(!arguments.iter().any(|argument| argument.starts_with("--tokens")), "a tokens file is for one machine: {arguments:?}");
}

/// What the collector takes for one of our agents, by name, label and account, is what is deployed.
#[test]
fn the_agents_are_those_that_the_collector_knows() {
    let (pod, _) = agent();
    assert_eq!(pod["serviceAccountName"], apiserver::AGENT);
    let daemon_set = object("DaemonSet", apiserver::AGENT);
    assert_eq!(daemon_set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"], apiserver::AGENT);
    assert_eq!(NAMESPACE, apiserver::NAMESPACE);
    let sources = named(&pod["volumes"], "collector-token")["projected"]["sources"].clone();
    assert_eq!(sources[0]["serviceAccountToken"]["audience"], apiserver::AUDIENCE);
}

#[test]
fn two_collectors_never_share_the_database() {
    let deployment = object("Deployment", "holdfast-collector");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let (pod, _) = collector();
    let claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"].as_str().unwrap().to_owned();
    assert_eq!(object("PersistentVolumeClaim", &claim)["spec"]["accessModes"], json!(["ReadWriteOnce"]));
}

#[test]
fn services_and_policy_reach_the_collectors_ports() {
    let (_, container) = collector();
    let labels = object("Deployment", "holdfast-collector")["spec"]["template"]["metadata"]["labels"].clone();
    for (service, port, number) in [("holdfast-collector", "grpc", 8443), ("holdfast-dashboard", "http", 8080)] {
        let spec = object("Service", service)["spec"].clone();
        let selector = spec["selector"].as_object().unwrap();
        assert!(selector.iter().all(|(key, value)| labels[key] == *value), "{service}");
        assert_eq!(spec["ports"][0]["targetPort"], port);
        assert_eq!(spec["ports"][0]["port"], number);
        assert_eq!(named(&container["ports"], port)["containerPort"], number);
        // With a full disk the collector is not ready: people must still reach its pages, agents come back later.
        let always = if port == "http" { json!(true) } else { Value::Null };
        assert_eq!(spec["publishNotReadyAddresses"], always, "{service}");
    }
    let policy = object("NetworkPolicy", "holdfast-collector")["spec"].clone();
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let api = json!([{"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]}]);
    assert_eq!(policy["egress"], api, "the API server, and nothing else");
    let nothing = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    assert_eq!(object("NetworkPolicy", NAMESPACE)["spec"], nothing, "what no policy allows is denied");
    let rules = policy["ingress"].as_array().unwrap();
    for rule in rules {
        let guarded = rule.get("from").is_some();
        let ports: Vec<&str> = rule["ports"].as_array().unwrap().iter().map(|port| port["port"].as_str().unwrap()).collect();
        assert_eq!(ports, [if guarded { "http" } else { "grpc" }], "the dashboard is for those let in, the session for every agent");
    }
    assert_eq!(rules.len(), 2);
}

#[test]
fn the_agent_connects_to_the_service_that_the_certificate_names() {
    let (_, container) = agent();
    let name = format!("holdfast-collector.{NAMESPACE}.svc");
    assert!(strings(&container["args"]).contains(&format!("--collector=https://{name}:8443")));
    let guide = fs::read_to_string(base().join("../../README.md")).unwrap();
    assert!(guide.contains(&format!("ca init --out certs --dns {name}")), "the guide makes the certificate for that name");
}

/// Peer probes are switched on by a component: one flag, no right, and nothing for agents, whose networks are the user's.
#[test]
fn peer_probes_take_one_flag_more() {
    let component = parse(&base().join("../components/peer-probes/kustomization.yaml")).remove(0);
    assert_eq!(component["kind"], "Component");
    let operations: Vec<(String, Value)> = component["patches"]
        .as_array()
        .expect("patches")
        .iter()
        .map(|patch| {
            let (kind, name) = (patch["target"]["kind"].as_str().unwrap(), patch["target"]["name"].as_str().unwrap());
            let target = object(kind, name);
            let operation: Value = serde_saphyr::from_str::<Vec<Value>>(patch["patch"].as_str().unwrap()).unwrap().remove(0);
            let list = operation["path"].as_str().unwrap().strip_suffix("/-").expect("it appends");
            assert_eq!(operation["op"], "add");
            assert!(target.pointer(list).is_some_and(Value::is_array), "{kind}/{name} has no list {list}");
            (kind.to_owned(), operation["value"].clone())
        })
        .collect();
    assert_eq!(operations, [("Deployment".to_owned(), json!("--peer-probes-from-api"))]);
}

/// Feeds are a directory that is mounted and watched; without the ConfigMap the collector starts all the same.
/// What a component appends to the collector's arguments, mounts and volumes.
fn appended(component: &str) -> Vec<Value> {
    let component = parse(&base().join(format!("../components/{component}/kustomization.yaml"))).remove(0);
    assert_eq!(component["kind"], "Component");
    let patch = &component["patches"][0];
    let target = object("Deployment", patch["target"]["name"].as_str().unwrap());
    let operations = serde_saphyr::from_str::<Vec<Value>>(patch["patch"].as_str().unwrap()).unwrap();
    for operation in &operations {
        let list = operation["path"].as_str().unwrap().strip_suffix("/-").expect("it appends");
        assert!(target.pointer(list).is_some_and(Value::is_array), "no list {list}");
    }
    operations.iter().map(|operation| operation["value"].clone()).collect()
}

#[test]
fn the_component_for_feeds_mounts_what_the_collector_watches() {
    let values = appended("feeds");
    let directory = values[0].as_str().unwrap().strip_prefix("--feed-directory=").expect("the flag");
    assert_eq!(values[1], json!({"name": "feeds", "mountPath": directory, "readOnly": true}));
    assert_eq!(values[2], json!({"name": "feeds", "configMap": {"name": "holdfast-feeds", "optional": true}}));
}

#[test]
fn the_component_for_policies_mounts_the_file_that_the_collector_reads() {
    let values = appended("policy");
    let file = values[0].as_str().unwrap().strip_prefix("--policy=").expect("the flag");
    let (directory, name) = file.rsplit_once('/').unwrap();
    // The key of the ConfigMap, as `kubectl create configmap --from-file` makes it.
    assert_eq!(name, "policy.yaml");
    assert_eq!(values[1], json!({"name": "policy", "mountPath": directory, "readOnly": true}));
    assert_eq!(values[2], json!({"name": "policy", "configMap": {"name": "holdfast-policy"}}));
}
