"""SafeTensors files, alone or as the shards of an index."""
