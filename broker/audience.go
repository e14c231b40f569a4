package broker

import "github.com/mochi-mqtt/server/v2/packets"

// Audience counts who would get a message with a topic name and a QoS: connected
// subscribers, sessions without a connection that would keep it, and share
// groups, in each of which one would get it.
func (n *Node) Audience(name string, qos byte) (subscribers, sessions, groups int) {
	subs := n.server.Topics.Subscribers(name)
	(&hook{n: n}).OnSelectSubscribers(subs, packets.Packet{TopicName: name})
	for id, sub := range subs.Subscriptions {
		switch here, keeps := n.receives(id, name, min(qos, sub.Qos)); {
		case here:
			subscribers++
		case keeps:
			sessions++
		}
	}
	for _, members := range subs.Shared {
		for id, sub := range members {
			if here, keeps := n.receives(id, name, min(qos, sub.Qos)); here || keeps {
				groups++
				break
			}
		}
	}
	return subscribers, sessions, groups
}

// receives reports whether a client is there to get a message, or has a session
// that keeps it.
func (n *Node) receives(id, name string, qos byte) (here, keeps bool) {
	cl, ok := n.server.Clients.Get(id)
	switch {
	case !ok || name[0] == '$' && !mayReceive(cl, name):
		return false, false
	case n.connected(id) != nil:
		return true, false
	}
	return false, qos > 0
}
