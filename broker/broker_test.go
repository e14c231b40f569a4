package broker

import (
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

func TestPublishSubscribe(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	a, b := connect(t, n, "a"), connect(t, n, "b")
	a.sub(t, "x/#")
	for qos := byte(0); qos <= 2; qos++ {
		if code := b.pub(t, &paho.Publish{Topic: "x/y", QoS: qos, Payload: []byte("hello")}); code != 0 {
			t.Errorf("QoS %d is answered with %#x", qos, code)
		}
		if p := a.next(t); p.Topic != "x/y" || string(p.Payload) != "hello" || p.QoS != qos {
			t.Errorf("got %+v", p)
		}
	}
}
