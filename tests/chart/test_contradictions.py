"""Values that make no sense stop the render with a sentence that says what to do."""

from typing import Any

import pytest
from tests.support import helm

URLS = {"broker": {"url": "amqp://u:p@h"}, "store": {"url": "redis://h"}, "encryption": {"allowClear": True}}
USERS = {
    "broker": {
        "users": {
            name: {"url": f"amqp://{name}:p@h"} for name in ("topology", "intake", "executor", "callback", "fsck")
        }
    },
    "store": {"url": "redis://h"},
    "encryption": {"allowClear": True},
}
"""A broker user for each, and none for all."""
OPEN = {"networkPolicy": {"ingressController": {"namespaces": ["ingress"]}}}


def refusal(values: helm.Values, **options: Any) -> str:
    with pytest.raises(helm.HelmError) as caught:
        helm.template(values, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "No broker is named: set broker.url (amqp://"),
        ({}, "No store is named: set store.url (redis://"),
        ({"monitoring": {"prometheusRule": {"objectives": {"accept": 1}}}},
         "monitoring.prometheusRule.objectives.accept is 1: give a share above 0 and below 1"),
        ({}, "RabbitMQ and Redis would keep payloads, headers and responses in clear: set encryption.existingSecret"),
        (helm.merged(URLS, {"encryption": {"keys": "k", "existingSecret": "s", "allowClear": False}}),
         "encryption.keys and encryption.existingSecret are both set"),
        (helm.merged(URLS, {"encryption": {"keys": "k"}}), "encryption.allowClear is true, but there are keys"),
        ({"signing": {"publicSecret": "s"}}, "signing.existingSecret names nothing that signs"),
        (helm.merged(URLS, {"broker": {"existingSecret": "s"}}), "broker.url and broker.existingSecret are both set"),
        (helm.merged(URLS, {"store": {"existingSecret": "s"}}), "store.url and store.existingSecret are both set"),
        (helm.merged(helm.DEV, {"broker": {"url": "amqp://u:p@h"}}), "dependencies.dev.enabled brings a broker, but"),
        (helm.merged(helm.DEV, {"store": {"existingSecret": "s"}}), "dependencies.dev.enabled brings a store, but"),
        (helm.merged(helm.DEV, {"broker": {"users": {"topology": {"existingSecret": "s"}}}}),
         "broker.users.topology names a broker, but dependencies.dev.enabled brings one"),
        (helm.merged(helm.MINIMAL, {"broker": {"users": {"intake": {"existingSecret": "s", "url": "amqp://h"}}}}),
         "broker.users.intake.url and .existingSecret are both set"),
        (helm.merged(helm.MINIMAL, {"broker": {"users": {"topology": {"url": "amqp://u:p@h:5999/v"}}}}),
         "broker.users.topology.url has port 5999, which the NetworkPolicies do not open"),
        (helm.merged(helm.MINIMAL, {"broker": {"users": {"intake": {"url": "http://h"}}}}),
         "broker.users.intake.url is no URL such as amqp://"),
        (helm.merged(USERS, {"broker": {"users": {"executor": {"url": ""}, "callback": {"url": ""}}}}),
         "No broker is named for executor, callback (broker.users.executor): set broker.url"),
        (helm.merged(USERS, {"executor": {"autoscaling": {"type": "keda"}}}),
         "No broker is named for scaler (broker.users.scaler): set broker.url"),
        (helm.merged(URLS, {"broker": {"url": "http://h"}}), "broker.url is no URL such as amqp://"),
        (helm.merged(URLS, {"store": {"url": "h:6379"}}), "store.url is no URL such as redis://"),
        (helm.merged(URLS, {"broker": {"url": "amqps://u:p@h:5999/v"}}), "set networkPolicy.broker.ports=[5999]"),
        (helm.merged(URLS, {"store": {"url": "redis://h:7000"}}), "set networkPolicy.store.ports=[7000]"),
        (helm.merged(helm.DEV, {"store": {"users": {"intake": {"existingSecret": "s"}}}}),
         "store.users.intake names a store, but dependencies.dev.enabled brings one"),
        ({"broker": {"url": "amqp://h"}, "store": {"users": {"intake": {"url": "redis://i:p@h"}}}},
         "No store is named for executor, callback (store.users.executor): set store.url"),
        (helm.merged(URLS, {"broker": {"tls": {"caSecret": "s"}}}),
         "broker.tls names certificates, but broker.url has no TLS: it must begin with amqps://"),
        (helm.merged(URLS, {"store": {"tls": {"clientSecret": "s"}}}),
         "store.tls names certificates, but store.url has no TLS: it must begin with rediss://"),
        (helm.merged(helm.DEV, {"store": {"tls": {"caSecret": "s"}}}),
         "dependencies.dev.enabled brings a store without TLS, but store.tls names certificates"),
        ({"callback": {"signing": {"secret": "whsec_x", "existingSecret": "s"}}},
         "callback.signing.secret and callback.signing.existingSecret are both set"),
        ({"egress": {"proxy": {"url": "http://p:1", "existingSecret": "s"}}},
         "egress.proxy.url and egress.proxy.existingSecret are both set"),
        ({"egress": {"proxy": {"url": "http://u:p@p:1"}}}, "egress.proxy.url holds a password"),
        ({"auth": {"enabled": False, "existingSecret": "s"}}, "auth.existingSecret names API keys, but"),
        ({"ingress": {"enabled": True}}, "set ingress.hosts, such as"),
        ({"ingress": {"enabled": True, "hosts": ["a"]}}, "set networkPolicy.ingressController.namespaces"),
        ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}},
         "set networkPolicy.ingressController.namespaces"),
        (helm.merged(OPEN, {"httpRoute": {"enabled": True}}), "set httpRoute.parentRefs, such as"),
        ({"ingress": {"tls": {"enabled": True}}}, "ingress.tls.enabled is true, but ingress.enabled is not"),
        ({"intake": {"service": {"type": "LoadBalancer"}}},
         "keep the clients of its LoadBalancer out: set networkPolicy.ingressController.cidrs"),
        ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "set networkPolicy.monitoring.namespaces"),
        ({"test": {"enabled": False, "url": "http://a"}}, "test.url is set, but test.enabled is false"),
        ({"intake": {"replicas": 3, "autoscaling": {"type": "hpa"}}},
         "intake.replicas is 3 while intake.autoscaling.type is hpa, which owns the number: leave replicas out"),
        ({"defaults": {"replicas": 2}, "executor": {"autoscaling": {"type": "keda"}}},
         "executor.replicas is 2 while executor.autoscaling.type is keda"),
        ({"callback": {"autoscaling": {"type": "hpa", "minReplicas": 9}}},
         "callback.autoscaling.minReplicas is over maxReplicas"),
        ({"intake": {"pdb": {"minAvailable": 1, "maxUnavailable": 1}}},
         "intake.pdb has minAvailable and maxUnavailable: keep one"),
        ({"intake": {"replicas": 2, "pdb": {"minAvailable": 2}}},
         "intake.pdb.minAvailable is 2 of 2 pods, so that no node could ever be drained"),
        ({"executor": {"shutdown": {"terminationGracePeriodSeconds": 40}}},
         "executor.shutdown.terminationGracePeriodSeconds is 40, but preStop and drain take 40: raise it"),
        ({"executor": {"shutdown": {"terminationGracePeriodSeconds": "41", "drainSeconds": 31.5}}},
         "terminationGracePeriodSeconds is 41, but preStop and drain take 42"),
    ],
)  # fmt: skip
def test_contradictions(values: helm.Values, sentence: str) -> None:
    named = {"broker", "store", "dependencies"} & values.keys()
    assert sentence in refusal(values if named or not values else helm.merged(helm.MINIMAL, values))


def test_all_problems_are_named_at_once() -> None:
    text = refusal({"ingress": {"enabled": True}})
    for sentence in ("No broker is named", "No store is named", "set ingress.hosts", "keep the ingress out"):
        assert sentence in text


@pytest.mark.parametrize(
    ("file", "api", "product"),
    [
        ("keda", "keda.sh/v1alpha1/ScaledObject", "KEDA"),
        ("httproute", "gateway.networking.k8s.io/v1/HTTPRoute", "the Gateway API"),
        ("observability", "monitoring.coreos.com/v1/", "prometheus-operator"),
    ],
)
def test_a_kind_that_the_cluster_does_not_know(file: str, api: str, product: str) -> None:
    with pytest.raises(helm.HelmError) as caught:
        helm.template(helm.CHART / f"ci/{file}-values.yaml", apis=())
    assert f"but this cluster has no {api}" in str(caught.value)
    assert f"install {product} first, or render with --api-versions" in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        helm.merged(
            URLS,
            {"broker": {"url": "amqps://user:p%40ss@[2001:db8::1]:5671/v"}, "store": {"url": "rediss://:x@h:6380/1"}},
        ),
        helm.merged(URLS, {"broker": {"url": "amqp://user:pass@h/vhost"}, "store": {"url": "redis://h"}}),
        helm.merged(URLS, {"broker": {"url": "amqp://user:5999@h"}, "store": {"url": "redis://user:7000@h/0"}}),
        USERS,
        helm.merged(USERS, {"topology": {"declaredBy": "external"}, "broker": {"users": {"topology": {"url": ""}}}}),
        helm.merged(helm.MINIMAL, {"broker": {"users": {"scaler": {"url": "http://u:p@h:15672/v"}}}}),
        helm.merged(helm.MINIMAL, {"executor": {"replicas": 2, "pdb": {"minAvailable": "50%"}}}),
        helm.merged(helm.MINIMAL, {"executor": {"pdb": {"minAvailable": 1}}}),
        helm.merged(helm.MINIMAL, {"networkPolicy": {"enabled": False}, "ingress": {"enabled": True, "hosts": ["a"]}}),
    ],
    ids=[
        "tls and IPv6",
        "no port",
        "a number as password",
        "a user each",
        "a user each but topology",
        "management API for the scaler",
        "percentage",
        "one pod",
        "no policies",
    ],
)
def test_what_is_fine_is_let_through(values: helm.Values) -> None:
    helm.template(values)


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_the_examples_are_fine(path: Any) -> None:
    helm.template(path)
