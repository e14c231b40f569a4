// Package broker is one MQTT node in this process: its listeners, who may
// connect and do what, its sessions, retained and will messages, and a table
// of the topic filters that its clients subscribe to. It speaks MQTT 3.1.1 and
// 5.0. It does not know that links exist: a [topology.Grant] is a principal
// whose publishes under $LINK/ go to a [Handler] instead of to subscribers.
//
// The MQTT engine is mochi-mqtt 2.7.9, wrapped whole. Its defects that this
// package fences off: deadlock and stall with a client's Receive Maximum;
// resends beyond it and out of order; messages lost while a session moves to a
// new connection; expired, taken over and half-connected sessions that leave
// filters or lose their registration; shared subscriptions that receive $
// topics; publishers held up by a subscriber that does not read; topic aliases
// that evade access control or outlive their connection; wills that evade it,
// lose their properties and skip hooks; acknowledgements of the wrong type;
// passwords in its log.
//
// What stays, because the engine keeps both packet identifier spaces in one
// map and has no hook there: a SUBSCRIBE or UNSUBSCRIBE whose packet
// identifier equals that of an outstanding delivery is refused with 0x91, and
// an inbound PUBLISH with QoS above 0 and such an identifier ends that
// delivery (the client that already has it loses nothing; it is not sent again
// after a reconnect). A filter that ends in +/# does not match its parent
// level. Sessions and retained messages end with the process unless there is
// an Options.Store.
//
// In force for all clients: acknowledgements carry no user properties, and a
// refused subscription is answered with 0x80 (MQTT 5.0 §3.9.3) whatever the
// reason.
package broker
