// Package store keeps what an MQTT node must not forget, in a directory:
// sessions with their subscriptions, the messages that are queued for them,
// the QoS 2 packet identifiers they have in use, and retained messages.
//
// Changes are gathered, and those of one batch are appended to a log by one
// write. What is in the log survives the end of the process, however it comes;
// it survives a loss of power once the log has been synchronised, which is
// done at an interval, or with each batch. At longer intervals what the log
// holds is moved into a base, a bbolt file, and the log begins anew. What was
// put and deleted again in between never reaches the base; what was within one
// batch does not even reach the log.
//
// The directory holds generations, numbered directories. A generation that is
// not marked as ready was being made when the process ended, and is dropped.
package store
