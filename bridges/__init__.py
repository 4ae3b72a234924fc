"""The real world: places imported from maps, and the tiles that clients load of them.

Decides how outside data becomes ours. Invariant: nothing here is needed by a shard at run time; importing this
package loads neither osmium nor shapely. Not responsible for: colliding, drawing, serving HTTP.
"""
