"""Training, evaluation and promotion of Med-K2N bundles. Needs no server; reads images and writes bundles.

In: folders of images. Out: prepared cases, weights, reports. Never: the network, the node's database.
"""
