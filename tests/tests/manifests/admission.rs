//! The admission policies, played: requests as an API server gives them to policies, against every expression of ours.
//!
//! The expressions are evaluated by the `cel` crate, which knows what ours use (`has`, `in`, `all`, `exists`, `startsWith`, equality of
//! whole objects). What it does not do: the API server's check of types, which makes warnings in a policy's status and no decision, and
//! its budget of cost, of which ours need little: they look at one pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cel::{Context, Program, Value as Said};
use serde_json::{Value, json};

use super::{NAMESPACE, object, of_kind};

const CONTROLLER: &str = "system:serviceaccount:kube-system:daemon-set-controller";
const REPLICAS: &str = "system:serviceaccount:kube-system:replicaset-controller";
const ADMIN: &str = "kubernetes-admin";

/// What every expression said in all requests, by policy and expression.
static SAID: Mutex<BTreeMap<(String, String), BTreeSet<bool>>> = Mutex::new(BTreeMap::new());

/// What an API server shows to policies. [`Request::of`] is one of an administrator's.
#[derive(Clone)]
struct Request {
    operation: &'static str,
    /// `pods`, `pods/exec`
    resource: &'static str,
    name: String,
    namespace: String,
    user: String,
    groups: Option<Vec<&'static str>>,
    object: Value,
    old: Value,
}

impl Request {
    fn of(operation: &'static str, resource: &'static str, object: Value) -> Self {
        let (name, groups) = (object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), Some(vec!["system:authenticated"]));
        let (namespace, user) = (NAMESPACE.to_owned(), ADMIN.to_owned());
        Self { operation, resource, name, namespace, user, groups, object, old: Value::Null }
    }

    fn create(pod: &Value) -> Self {
        Self::of("CREATE", "pods", pod.clone())
    }

    /// The change of a pod.
    fn update(pod: &Value, change: impl Fn(&mut Value)) -> Self {
        let mut fresh = pod.clone();
        change(&mut fresh);
        Self { old: pod.clone(), ..Self::of("UPDATE", "pods", fresh) }
    }

    /// Going into a pod.
    fn connect(resource: &'static str, pod: &str) -> Self {
        let options = json!({"apiVersion": "v1", "kind": "PodExecOptions", "container": "agent", "command": ["/bin/sh"]});
        Self { name: pod.to_owned(), ..Self::of("CONNECT", resource, options) }
    }

    fn token(account: &str) -> Self {
        let asked =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["holdfast-collector"]}});
        Self { name: account.to_owned(), ..Self::of("CREATE", "serviceaccounts/token", asked) }
    }

    fn by(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    fn kubelet(mut self) -> Self {
        self.groups = Some(vec!["system:nodes", "system:authenticated"]);
        self.by("system:node:n1")
    }

    fn elsewhere(mut self) -> Self {
        "default".clone_into(&mut self.namespace);
        self
    }

    fn context(&self) -> Context<'static, 'static> {
        let (resource, below) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let mut user = json!({"username": self.user});
        if let Some(groups) = &self.groups {
            user["groups"] = json!(groups);
        }
        let request = json!({
            "operation": self.operation, "name": self.name, "namespace": self.namespace, "subResource": below,
            "resource": {"group": "", "version": "v1", "resource": resource}, "userInfo": user,
        });
        let mut context = Context::default();
        for (name, value) in [("request", &request), ("object", &self.object), ("oldObject", &self.old)] {
            context.add_variable(name, value).unwrap();
        }
        context
    }

    /// Policies that deny it. A policy whose expression fails denies it too.
    fn denied_by(&self) -> Vec<String> {
        let denies = |policy: &Value| -> bool {
            let name = policy["metadata"]["name"].as_str().unwrap();
            let spec = &policy["spec"];
            assert_eq!(spec["failurePolicy"], "Fail", "{name}");
            assert_eq!(
                object("ValidatingAdmissionPolicyBinding", name)["spec"],
                json!({"policyName": name, "validationActions": ["Deny"]}),
                "it is in force wherever it matches"
            );
            let selector = &spec["matchConstraints"]["namespaceSelector"];
            assert_eq!(selector, &json!({"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}), "{name}");
            let has = |list: &Value, item: &str| list.as_array().unwrap().iter().any(|known| known == item);
            let matches = spec["matchConstraints"]["resourceRules"].as_array().unwrap().iter().any(|rule| {
                assert_eq!((&rule["apiGroups"], &rule["apiVersions"]), (&json!([""]), &json!(["v1"])), "{name}");
                has(&rule["operations"], self.operation) && has(&rule["resources"], self.resource)
            });
            if !matches || self.namespace != NAMESPACE {
                return false;
            }
            let context = self.context();
            let evaluate = |expression: &Value| -> Result<bool, String> {
                let expression = expression.as_str().unwrap();
                let said = Program::compile(expression).unwrap_or_else(|error| panic!("{name}: {error}: {expression}")).execute(&context);
                let said = match said {
                    Ok(Said::Bool(said)) => Ok(said),
                    other => Err(format!("{name}: {other:?}: {expression}")),
                };
                if let Ok(said) = said {
                    SAID.lock().unwrap().entry((name.to_owned(), expression.to_owned())).or_default().insert(said);
                }
                said
            };
            for condition in spec["matchConditions"].as_array().unwrap() {
                match evaluate(&condition["expression"]) {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(_) => return true,
                }
            }
            spec["validations"].as_array().unwrap().iter().any(|validation| evaluate(&validation["expression"]) != Ok(true))
        };
        let policies = of_kind("ValidatingAdmissionPolicy").into_iter().filter(denies);
        policies.map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// A pod as its controller makes it of our manifest, with what other admission has filled in.
fn made(kind: &str, name: &str, suffix: &str) -> Value {
    let template = object(kind, name)["spec"]["template"].clone();
    let owner = if kind == "DaemonSet" { (kind, name.to_owned()) } else { ("ReplicaSet", format!("{name}-6d5f")) };
    let mut metadata = template["metadata"].clone();
    metadata["generateName"] = json!(format!("{}-", owner.1));
    metadata["name"] = json!(format!("{}-{suffix}", owner.1));
    metadata["namespace"] = json!(NAMESPACE);
    metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": owner.0, "name": owner.1, "uid": "1", "controller": true}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

fn agent() -> Value {
    made("DaemonSet", "holdfast-agent", "x7k2p")
}

fn collector() -> Value {
    made("Deployment", "holdfast-collector", "abcde")
}

/// Somebody's pod that asks for nothing.
fn plain() -> Value {
    let container = json!({"name": "main", "image": "debian", "securityContext": {"allowPrivilegeEscalation": false}});
    let spec = json!({"serviceAccountName": "default", "containers": [container], "volumes": [{"name": "t", "emptyDir": {}}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "namespace": NAMESPACE}, "spec": spec})
}

fn with(pod: &Value, pointer: &str, value: Value) -> Value {
    let mut pod = pod.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[name] = value;
    pod
}

fn labelled(pod: &Value) -> Value {
    with(pod, "/metadata/labels", json!({"app.kubernetes.io/name": "holdfast-agent"}))
}

const WHO: &str = "holdfast-agent";
const REACH: &str = "holdfast-agent-reach";
const ELSE: &str = "holdfast-system";

/// What is asked, and by which policies it is denied.
fn requests() -> Vec<(&'static str, Request, &'static [&'static str])> {
    let (agent, collector, plain) = (agent(), collector(), plain());
    let forged = with(&plain, "/spec/serviceAccountName", json!("holdfast-agent"));
    let forged = with(&forged, "/metadata/ownerReferences", agent["metadata"]["ownerReferences"].clone());
    let forged = with(&forged, "/metadata/generateName", json!("holdfast-agent-"));
    let foreign = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "mine", "uid": "2", "controller": true}]);
    let image = |pod: &mut Value| pod["spec"]["containers"][0]["image"] = json!("evil");
    let more = |context: Value| {
        move |pod: &mut Value| pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "x", "securityContext": context}])
    };
    let ephemeral = |pod: &Value, context: Value| Request { resource: "pods/ephemeralcontainers", ..Request::update(pod, more(context)) };
    let unprivileged = json!({"privileged": false});
    let mut no_groups = Request::token("holdfast-agent");
    no_groups.groups = None;
    vec![
        ("the DaemonSet controller makes an agent's pod", Request::create(&agent).by(CONTROLLER), &[]),
        ("an administrator makes the same", Request::create(&agent), &[WHO]),
        ("a kubelet makes the same", Request::create(&agent).kubelet(), &[WHO]),
        ("another controller makes the same", Request::create(&agent).by(REPLICAS), &[WHO]),
        ("a pod of our account with forged name and owner", Request::create(&forged), &[WHO]),
        ("a pod of our label", Request::create(&labelled(&plain)), &[WHO]),
        ("a mirror pod of our label", Request::create(&labelled(&plain)).kubelet(), &[WHO]),
        (
            "a pod of our account for another DaemonSet",
            Request::create(&with(&agent, "/metadata/ownerReferences", foreign)).by(CONTROLLER),
            &[WHO],
        ),
        ("our account in another namespace", Request::create(&forged).elsewhere(), &[]),
        ("our label in another namespace", Request::create(&labelled(&plain)).elsewhere(), &[]),
        ("a pod that is nobody's", Request::create(&plain), &[]),
        ("the collector's pod", Request::create(&collector).by(REPLICAS), &[]),
        ("another image in an agent's pod", Request::update(&agent, image), &[WHO]),
        ("another image by the controller", Request::update(&agent, image).by(CONTROLLER), &[WHO]),
        ("another image in the collector's pod", Request::update(&collector, image), &[]),
        ("an annotation on an agent's pod", Request::update(&agent, |pod| pod["metadata"]["annotations"] = json!({"a": "b"})), &[]),
        ("an agent's pod without its label", Request::update(&agent, |pod| pod["metadata"]["labels"] = json!({})), &[]),
        ("the controller lets an agent's pod go", Request::update(&agent, |pod| pod["metadata"]["ownerReferences"] = json!([])), &[]),
        ("our label for somebody's pod", Request::update(&plain, |pod| *pod = labelled(pod)), &[WHO]),
        ("another label for somebody's pod", Request::update(&plain, |pod| pod["metadata"]["labels"] = json!({"a": "b"})), &[]),
        ("a label on what has our label", Request::update(&labelled(&plain), |pod| pod["metadata"]["labels"]["a"] = json!("b")), &[]),
        ("a container in a running agent", ephemeral(&agent, unprivileged.clone()), &[REACH]),
        ("a container in the running collector", ephemeral(&collector, unprivileged), &[]),
        ("a privileged one in the running collector", ephemeral(&collector, json!({"privileged": true})), &[ELSE]),
        ("one with capabilities in the collector", ephemeral(&collector, json!({"capabilities": {"add": ["SYS_PTRACE"]}})), &[ELSE]),
        ("exec into an agent", Request::connect("pods/exec", "holdfast-agent-x7k2p"), &[REACH]),
        ("attach to an agent", Request::connect("pods/attach", "holdfast-agent-x7k2p"), &[REACH]),
        ("the loopback of an agent's node", Request::connect("pods/portforward", "holdfast-agent-x7k2p"), &[REACH]),
        ("an agent through the API server", Request::connect("pods/proxy", "holdfast-agent-x7k2p"), &[REACH]),
        ("exec into an agent by a kubelet", Request::connect("pods/exec", "holdfast-agent-x7k2p").kubelet(), &[REACH]),
        ("exec elsewhere", Request::connect("pods/exec", "holdfast-agent-x7k2p").elsewhere(), &[]),
        ("the dashboard, as the guide has it", Request::connect("pods/portforward", "holdfast-collector-6d5f-abcde"), &[]),
        ("a token for an agent by its kubelet", Request::token("holdfast-agent").kubelet(), &[]),
        ("a token for an agent by an administrator", Request::token("holdfast-agent"), &[REACH]),
        ("a token for an agent by nobody knows whom", no_groups, &[REACH]),
        ("a token for the collector", Request::token("holdfast-collector"), &[]),
        ("the node's processes", Request::create(&with(&plain, "/spec/hostPID", json!(true))), &[ELSE]),
        ("the node's network", Request::create(&with(&plain, "/spec/hostNetwork", json!(true))), &[ELSE]),
        ("the node's memory", Request::create(&with(&plain, "/spec/hostIPC", json!(true))), &[ELSE]),
        ("nothing of the node, said", Request::create(&with(&plain, "/spec/hostPID", json!(false))), &[]),
        ("the node's files", Request::create(&with(&plain, "/spec/volumes", json!([{"name": "h", "hostPath": {"path": "/"}}]))), &[ELSE]),
        ("a privileged pod", Request::create(&with(&plain, "/spec/containers/0/securityContext/privileged", json!(true))), &[ELSE]),
        (
            "a privileged first container",
            Request::create(&with(&plain, "/spec/initContainers", json!([{"name": "i", "securityContext": {"privileged": true}}]))),
            &[ELSE],
        ),
        ("the node's processes elsewhere", Request::create(&with(&plain, "/spec/hostPID", json!(true))).elsewhere(), &[]),
        ("what a kubelet reports", Request { resource: "pods/status", ..Request::update(&agent, image).kubelet() }, &[]),
        ("what the scheduler decides", Request { resource: "pods/binding", ..Request::create(&agent) }, &[]),
        ("an agent's pod is deleted", Request { operation: "DELETE", ..Request::create(&agent) }, &[]),
    ]
}

#[test]
fn every_request_is_decided_as_it_should_be() {
    let mut wrong = Vec::new();
    for (what, request, denied) in requests() {
        let by = request.denied_by();
        if by != denied {
            wrong.push(format!("{what}: denied by {by:?} and not by {denied:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // An expression that never said both says nothing.
    let said = SAID.lock().unwrap();
    for policy in of_kind("ValidatingAdmissionPolicy") {
        let (name, spec) = (policy["metadata"]["name"].as_str().unwrap(), &policy["spec"]);
        let all = [&spec["matchConditions"], &spec["validations"]].into_iter().flat_map(|list| list.as_array().unwrap());
        for expression in all.map(|item| item["expression"].as_str().unwrap().to_owned()) {
            let both = said.get(&(name.to_owned(), expression.clone()));
            assert_eq!(both, Some(&BTreeSet::from([false, true])), "{name}: {expression}");
        }
    }
}
