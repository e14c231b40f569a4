package clink_test

import (
	"context"
	"os"

	"github.com/eclipse/paho.golang/paho"
	"github.com/rogpeppe/go-internal/testscript"
)

// traceCmds are the commands of scripts about messages that are followed.
func traceCmds() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"subscriber": subscriber, "keyfile": keyFile}
}

// subscriber connects a client that subscribes to a filter, until the script
// ends: subscriber PORT CLIENTID FILTER [away]. With away it leaves at once, and
// its session lives on.
func subscriber(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: subscriber PORT CLIENTID FILTER [away]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	as := &paho.Connect{ClientID: args[1], KeepAlive: 30, CleanStart: true}
	if len(args) == 4 {
		hour := uint32(3600)
		as.Properties = &paho.ConnectProperties{SessionExpiryInterval: &hour}
	}
	c := mqttAs(ctx, ts, args[0], as, func(*paho.Publish) {})
	_, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: args[2], QoS: 1}}})
	ts.Check(err)
	leave := func() { c.Disconnect(&paho.Disconnect{}) }
	if len(args) == 4 {
		leave()
		return
	}
	ts.Defer(leave)
}

// keyFile writes the key of the running clinkd into a file: keyfile FILE.
func keyFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: keyfile FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.Getenv("KEY")+"\n"), 0o600))
}
