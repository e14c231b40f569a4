// Package broker is one MQTT node in this process: its listeners, who may
// connect and do what, its sessions, retained and will messages, and a table
// of the topic filters that its clients subscribe to. It speaks MQTT 3.1.1 and
// 5.0. It does not know that links exist: a [topology.Grant] is a principal
// whose publishes under $LINK/ go to a [Handler] instead of to subscribers.
//
// A listener speaks TCP, TLS, WebSocket, or through a socket in the file system,
// directly or behind a proxy; its clients are known by name and password or by
// certificate, held to its rates, and slowed down where they guess passwords.
//
// The MQTT engine is mochi-mqtt 2.7.9, wrapped whole: it reads and writes packets
// and does what they ask for. Connections are run here, in its order (attach.go),
// and so is its housekeeping (expiry.go, sys.go). Its defects that this
// package fences off: deadlock and stall with a client's Receive Maximum;
// resends beyond it and out of order; messages lost while a session moves to a
// new connection; expired, taken over and half-connected sessions that leave
// filters or lose their registration; shared subscriptions that receive $
// topics; publishers held up by a subscriber that does not read; topic aliases
// that evade access control or outlive their connection; wills that evade it,
// lose their properties and skip hooks; acknowledgements of the wrong type;
// passwords in its log; one space of packet identifiers for both directions,
// and a QoS 2 publish lost between its PUBREC and its delivery; a receive quota
// used up by what others have not completed; filters that end in +/# and their
// parent level, for messages and for retained ones; subscription identifiers
// left out of retained messages; No Local and Retain As Published of
// overlapping subscriptions; UNSUBSCRIBE that answers for, and counts, what
// others have; a SUBSCRIBE that ends the process; a DISCONNECT whose reason is
// not read; malformed and misplaced packets that go without an answer, or with
// one that the standards do not know. TestRegressions tries each that a client
// can see on the bare engine as well: one that passes there can go.
//
// What stays, and its effect: a client that subscribes with a wildcard, and has
// a filter for $ topics too, is sent the retained messages of those again. A
// client with x/+ and x/+/# gets the identifier of the first only on machines
// with 32 bits. Properties that come twice, and lengths coded in more bytes
// than needed, are let pass.
//
// Sessions and retained messages outlive the process if there is an
// [Options.Store]; what was acknowledged is in it.
//
// In force for all clients: acknowledgements carry no user properties, and a
// refused subscription is answered with 0x80 (MQTT 5.0 §3.9.3) whatever the
// reason.
package broker
