"""One way to run a network: `maps` of a normalised batch, `features` of pictures. Import the engine you need:

resnetfea.engine.compiled.CompiledEngine, resnetfea.engine.mindspore_engine.MindSporeEngine.
"""
