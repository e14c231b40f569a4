// Package spool keeps a queue of messages on disk, so that it outlives the
// process: an append-only log in segments, each record with its checksum,
// written and synced in groups.
//
// A message is appended, handed out in order, and done once whoever took it is
// finished with it. What was not done comes again, in order, after the next
// Open; so a message may be handed out twice across a crash, and none is lost
// but those of the last [Options.Interval], or with [Options.Always] none for
// which [Spool.Wait] has returned.
//
// A torn tail, which a crash leaves, is cut off and counted. So is what follows
// a damaged record in its segment, and the segment is kept aside for whoever
// wants to look at it. The package does not know what the messages say, nor
// when they are too old.
package spool
